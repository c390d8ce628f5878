// Prints sizes of memory for people.
#pragma once

#include <cstddef>
#include <string>

namespace collie {

// "58.2 MiB": three digits, at most 8 characters; whole bytes below 1 KiB.
std::string human_bytes(size_t bytes);

}  // namespace collie
