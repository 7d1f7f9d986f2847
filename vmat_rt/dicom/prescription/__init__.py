"""What is prescribed: the doses of a plan, where they are meant, what a user says, and when none may be assumed."""
