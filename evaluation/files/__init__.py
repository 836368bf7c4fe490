"""What the readers of several formats share: a first look at a file, rows of text files, pictures' sizes."""
