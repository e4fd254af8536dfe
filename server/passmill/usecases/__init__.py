"""What Passmill does, one verb a file: this listing is the feature list. A use case opens its
transaction, calls the store, then causes effects."""
