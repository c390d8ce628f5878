// JSON files that carry their own hash, so that no bit of them can change unseen.
//
// The file is one JSON object. Its last member, "sha256", is the SHA-256 of all bytes before that member. The
// bytes from there to the end follow from the hash alone.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace collie {

// The text of a sealed file for `object`, which has at least one member.
std::string seal(const nlohmann::json& object);

// The object of a sealed text that was read from `file`. Throws UserError naming the file if a single bit is
// not as it was written, or if the text is no JSON object.
nlohmann::json unseal(std::string_view text, const std::string& file);

}  // namespace collie
