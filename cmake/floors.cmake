# One static library a folder ("floor"), and one test executable a floor.

# collie_floor(NAME DEPENDS...): every .cpp of this folder (and its sub-folders) as the library collie_NAME.
function(collie_floor name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/kernels/cuda/")  # a library of its own
  if(NOT sources)
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp" "")
    set(sources "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
  endif()
  collie_library(${name} "${sources}" ${ARGN})
endfunction()

# collie_library(NAME SOURCES DEPENDS...): the library collie_NAME.
function(collie_library name sources)
  add_library(collie_${name} STATIC ${sources})
  target_link_libraries(collie_${name} PUBLIC collie_options ${ARGN})
  set_target_properties(collie_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# collie_precompile(TARGET ARGUMENT...): target_precompile_headers(), and without g++ 12's false alarms on std::string, which it
# suppresses in system headers only where it reads them itself.
function(collie_precompile target)
  target_precompile_headers(${target} ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-array-bounds>")
  endif()
endfunction()

# collie_tests(NAME DEPENDS...): every .cpp of tests/NAME as the executable test_NAME, which ctest runs once for the fast
# tier (label "fast"), once for the cases tagged [slow] (label "slow") and once for those that are tagged [slow][long] (label "long":
# outside continuous integration), where there are any.
function(collie_tests name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE collie_catch_main collie_options ${ARGN})
  target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:-O1>)  # half the time to build, no slower to run
  set_target_properties(test_${name} PROPERTIES COLLIE_TEST ON)  # for options.cmake
  target_compile_definitions(test_${name} PRIVATE COLLIE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  collie_precompile(test_${name} REUSE_FROM collie_catch_main)
  add_test(NAME ${name} COMMAND test_${name} "~[slow]" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 300)
  # Catch2 3 takes a filter that matches nothing for a failure, so a tier is there only where it has cases.
  set(in_tier_slow "[slow]~[long]")
  set(in_tier_long "[long]")
  foreach(tier slow long)
    foreach(source ${sources})
      file(STRINGS "${source}" tagged REGEX "\\[${tier}\\]" LIMIT_COUNT 1)
      if(tagged)
        add_test(NAME ${name}_${tier} COMMAND test_${name} "${in_tier_${tier}}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
        set_tests_properties(${name}_${tier} PROPERTIES LABELS ${tier} TIMEOUT 1800)
        break()
      endif()
    endforeach()
  endforeach()
endfunction()
