// What every message of a run carries.
#pragma once

#include <cstdint>
#include <string>

namespace collie {

// The run, and the incarnation of its ranks. Receivers drop messages of another.
struct RunTag {
  uint64_t run = 0;
  uint32_t generation = 0;
  bool operator==(const RunTag&) const = default;
};

// Who asked for a program. The trainer's own programs have no requester.
struct Request {
  std::string requester;  // "evaluator", "generator", or what a host program calls itself
  uint64_t number = 0;    // counts the requester's requests
  bool operator==(const Request&) const = default;
};

inline constexpr const char* evaluator_name = "evaluator";
inline constexpr const char* generator_name = "generator";

}  // namespace collie
