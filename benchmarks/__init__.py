"""What this service's training is measured against, and how. Nothing of the service needs it."""
