"""The contract's messages and the values they stand for, both ways.

What a value cannot express is refused by name: an unknown enum value (a newer peer), a number that is none, a missing part.
"""
