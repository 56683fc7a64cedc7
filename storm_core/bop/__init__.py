"""BOP datasets in and out; millimetres exist only here."""
