"""The error of the embedded servers, with a message for the person at the terminal."""


class StackError(Exception):
    """An embedded server cannot be started, found or stopped; the message says what to do."""
