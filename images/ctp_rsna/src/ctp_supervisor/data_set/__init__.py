"""What may not pass in a data set as it is: lengths of values, what stands beside the image."""
