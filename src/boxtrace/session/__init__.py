"""Sessions: what is recorded, from where to where, from create to destroy."""
