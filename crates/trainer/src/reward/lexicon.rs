//! Word lists of the rules, lower case.

/// Words that carry no content of their own.
pub(crate) const STOP: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been", "but",
    "by", "can", "could", "did", "do", "does", "doing", "for", "from", "get", "give", "had", "has", "have", "he", "her",
    "here", "him", "his", "how", "i", "i'd", "i'll", "i'm", "i've", "if", "in", "into", "is", "it", "it's", "its",
    "just", "let", "let's", "like", "made", "make", "many", "may", "me", "more", "most", "much", "my", "no", "not", "of",
    "on", "one", "or", "other", "our", "out", "over", "please", "she", "should", "so", "some", "such", "tell", "than",
    "that", "that's", "the", "their", "them", "then", "there", "these", "they", "thing", "things", "this", "those", "to",
    "too", "up", "us", "very", "was", "way", "we", "were", "what", "when", "where", "which", "while", "who", "why",
    "will", "with", "would", "you", "you'd", "you'll", "you're", "you've", "your",
];

/// Words one says to a friend.
pub(crate) const FRIENDLY: &[&str] = &[
    "absolutely", "adorable", "awesome", "buddy", "cheer", "cheers", "cool", "cozy", "definitely", "dear", "delighted",
    "excited", "fantastic", "friend", "friendly", "friends", "fun", "funny", "glad", "haha", "happy", "hello", "hey",
    "hi", "hooray", "hug", "hugs", "kind", "laugh", "love", "lovely", "pal", "smile", "sure", "sweet", "thank",
    "thanks", "together", "warm", "welcome", "wonderful", "wow", "yay", "yeah", "yes", "yep",
];

/// Positive words.
pub(crate) const POSITIVE: &[&str] = &[
    "amazing", "beautiful", "best", "better", "bright", "brilliant", "calm", "delicious", "delightful", "easy", "enjoy",
    "enjoyable", "excellent", "exciting", "favorite", "good", "great", "helpful", "hope", "incredible", "interesting",
    "joy", "nice", "perfect", "pleasure", "proud", "special", "super", "terrific", "tasty", "wonder",
];

/// Words of a cold or hostile tone.
pub(crate) const COLD: &[&str] = &[
    "awful", "bad", "boring", "cannot", "dumb", "fail", "failure", "hate", "horrible", "idiot", "impossible", "must",
    "never", "sad", "stupid", "terrible", "ugly", "unfortunately", "useless", "worst", "wrong",
];

/// Words that turn to the reader or take them along.
pub(crate) const ADDRESS: &[&str] = &[
    "i", "i'd", "i'll", "i'm", "i've", "let's", "me", "my", "our", "us", "we", "we'll", "we're", "you", "you'll", "you're",
    "you've", "your", "yourself",
];

/// Phrases of a friendly answer.
pub(crate) const PHRASES: &[&str] = &[
    "can't wait", "don't worry", "feel free", "glad you asked", "good luck", "great idea", "great question",
    "happy to help", "have fun", "here to help", "hey there", "hi there", "hope that helps", "hope this helps",
    "i understand", "i'd love to", "i'm excited", "i'm glad", "i'm happy", "i'm here", "i'm so", "i'm sure", "i'm thrilled",
    "let me know", "let's", "my friend", "no worries", "of course", "take care", "thank you", "that sounds",
    "what a", "you can do", "you'll love", "you're going to", "you're not alone", "you're welcome", "you've got",
];
