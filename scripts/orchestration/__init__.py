"""What stands in for the three parts where only what runs them is measured."""
