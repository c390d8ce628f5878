// How sacreBLEU cuts a text for BLEU (Post, arXiv 1804.08771).
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace collie {

// Makes of valid UTF-8 a text whose parts between white space (Python's str.split) are the tokens.
using BleuTokenizer = std::function<std::string(std::string_view text)>;

// 13a: the rules of mteval-v13a.pl, which WMT uses; intl: of mteval-v14.pl, with Unicode's categories; char:
// each character; none: the text as it is.
BleuTokenizer bleu_tokenizer(const std::string& name);

}  // namespace collie
