"""What can go wrong in the kernel's world: one file a fault, each with its budget."""
