"""`understudy check` on journals of the ticket tour, recorded on a real disk in the middle, and edits of its code."""
