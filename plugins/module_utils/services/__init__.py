"""What belongs to one service alone: KeyDB's database and Orthanc's configuration."""
