"""What ships inside the package: the tiny models, how they were made, and templates of files of one's own."""
