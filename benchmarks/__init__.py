"""What measures vhostspy against its yardsticks; ``python3 -m benchmarks.ladder`` runs all of it."""
