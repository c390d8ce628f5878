// What a suite of hostility has tried: a line for each kind when the program ends, which scripts/hostile.sh
// shows.
#pragma once

#include <cstdio>
#include <map>
#include <string>

namespace collie::test {

// One more has come out right.
inline void counted(const std::string& what) {
  struct Counts {
    std::map<std::string, int> of;
    ~Counts() {
      for (const auto& [kind, count] : of) std::printf("counted: %d %s\n", count, kind.c_str());
    }
  };
  static Counts counts;
  ++counts.of[what];
}

}  // namespace collie::test
