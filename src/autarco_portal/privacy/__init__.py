"""What has a person the right to, and what does the company owe him, by law and by its policy?

Rules: values in, values out; the time is an argument. Who keeps the values is the store's matter,
who sends mail and erases files is said in `privacy_*` beside this package. docs/privacy.md explains
them. Articles are those of the GDPR (Regulation (EU) 2016/679).
"""
