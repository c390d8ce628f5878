// Patterns over names with dots in them, such as those of tensors.
#pragma once

#include <string>
#include <vector>

namespace collie {

// Says whether `pattern` matches the whole name: * stands for any text, dots included, ? for one character,
// [01] for one of these.
bool matches_pattern(const std::string& pattern, const std::string& name);

// The same of the name or of what is behind one of its dots.
bool matches_end_of_name(const std::string& pattern, const std::string& name);

// Throws UserError "PLACE: 'PATTERN' matches no parameter of the model; ..." if it matches none of `names`.
// The message names the nearest one.
void check_pattern_matches(const std::string& pattern, const std::vector<std::string>& names,
                           const std::string& place);

}  // namespace collie
