// What libsentencepiece takes on trust in a model file.
#pragma once

#include <string>
#include <string_view>

namespace collie {

// Checks the character maps of the normalizers in `model`, a serialised ModelProto: the library follows them
// without looking where they lead, and a damaged one makes it read what is not the file's. Throws UserError
// naming `file`. Format: sentencepiece_model.proto and normalizer.cc of libsentencepiece.
void check_sentencepiece_model(std::string_view model, const std::string& file);

}  // namespace collie
