"""The kernel domain: which events there are, which are wanted, and the BPF programs that record them."""
