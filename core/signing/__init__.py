"""The signer: the one process that holds private keys."""
