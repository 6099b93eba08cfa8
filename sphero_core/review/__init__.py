"""Labels and model judged by a person who sees neither: what is sampled, shown, asked, and what follows from the answers."""
