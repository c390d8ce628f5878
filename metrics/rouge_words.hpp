// The words that ROUGE compares, as the package rouge-score cuts them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace collie {

// Runs of ASCII's letters and digits of valid UTF-8 in lower case. With `stem`, those of more than three
// letters lose their endings.
std::vector<std::string> rouge_words(std::string_view text, bool stem);

}  // namespace collie
