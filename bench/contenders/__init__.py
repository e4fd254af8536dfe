"""What `bench/signer.py` measures: the card that all make, and a worker process for each maker."""
