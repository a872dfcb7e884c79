"""The league: trained populations and scripted players of several games, beside published figures and set bars."""
