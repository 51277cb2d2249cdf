"""The commands by subject: runs, exams and questions, and what there is."""
