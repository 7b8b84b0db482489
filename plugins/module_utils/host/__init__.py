"""What a machine is and how it is asked: commands, facts, files, directories, tables for people."""
