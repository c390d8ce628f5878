// Porter's stemmer (Porter, Program 14(3), 1980) with the changes that NLTK makes to it, for ROUGE.
#pragma once

#include <string>

namespace collie {

// `word` is in lower case: a to z and digits.
std::string porter_stem(const std::string& word);

}  // namespace collie
