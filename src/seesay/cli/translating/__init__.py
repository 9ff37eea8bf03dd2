"""What others say in English of a wrong use, in the language of the command line."""
