"""Questions about pictures, made by rules from what is already known of them.

`lexicon` holds the words in both languages, `facts` reads captions, object labels and classes,
`asking` chooses facts and words the questions, `pope` asks about labelled objects as POPE does,
`preferences` gives each question a wrong answer too.
"""
