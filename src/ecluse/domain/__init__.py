"""What Ecluse decides: values in, values out; time and randomness are arguments."""
