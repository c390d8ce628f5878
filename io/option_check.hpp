// Checks the options that a user gave a piece, such as an optimizer or a learning-rate schedule, by the
// piece's declaration.
#pragma once

#include <functional>
#include <string>

#include "base/option.hpp"

namespace collie {

// The beginning of a message about a key.
using PlaceOfKey = std::function<std::string(const std::string& key)>;

// Throws UserError if `piece` ("adamw") has not declared an option that is given, if a value is not valid, or
// if two are given of which one may be. `section` is the path of the keys.
void check_given(const std::string& piece, const OptionDeclaration& declared, const OptionValues& given,
                 const std::string& section, const PlaceOfKey& place);

// Throws UserError if options in force contradict each other, or one is missing.
void check_together(const OptionDeclaration& declared, const OptionValues& in_force,
                    const std::string& section, const PlaceOfKey& place);

}  // namespace collie
