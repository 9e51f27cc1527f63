"""Measured data sets: rows, files, and the networks that training sees in them."""
