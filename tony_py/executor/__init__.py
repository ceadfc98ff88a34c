"""The executor: what runs in each container, under whatever Python the user's programs bring.

It is shipped alone, so it imports the standard library only, and nothing of the platform.
"""
