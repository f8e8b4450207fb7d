"""What can go wrong with the embedded servers, in words for the person at the terminal."""


class StackError(Exception):
    """An embedded server cannot be started, found or stopped; the message says what to do."""
