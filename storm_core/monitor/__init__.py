"""TOM: is the tracked pose right?"""
