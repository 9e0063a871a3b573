"""What the compiler made of a kernel: PTX text read back and compared with the declaration."""
