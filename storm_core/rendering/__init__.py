"""One renderer interface: depth, normals, colour and mask of many poses."""
