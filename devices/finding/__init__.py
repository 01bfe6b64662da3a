"""`tallyman devices`: what is attached (`attached`), what it says when it is asked politely (`asking`), and what a
person is shown of it (`listing`).
"""
