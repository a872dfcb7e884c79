"""A repeated exchange of items between two, who each claim what they want of them."""
