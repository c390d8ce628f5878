// JSON files that carry their own hash, so that no bit of them can change unseen.
//
// The file is one JSON object. Its last member, "sha256", is the SHA-256 of all bytes before that member;
// what stands from there on to the end follows from the hash alone.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace collie {

// The text of such a file for `object`, which has at least one member.
std::string seal(const nlohmann::json& object);

// The object of a sealed text that was read from `file`. Throws UserError naming the file where a single bit
// is not as it was written, and where the text is no JSON object.
nlohmann::json unseal(std::string_view text, const std::string& file);

}  // namespace collie
