"""What workers do: jobs of the queue, handed to use cases."""
