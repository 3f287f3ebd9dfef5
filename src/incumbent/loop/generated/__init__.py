"""What generating models wrote, checked and counted."""
