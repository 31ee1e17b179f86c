"""What administrators do, as acts on the store; the command line and the API call them."""
