"""Webhooks: which addresses messages may be sent to, how they are signed, and the task that sends them."""
