# The engine as one shared library, collie::engine: what the command, host programs and plugins link. There is one copy of
# every registry in a process, whoever brings it in, and the linker can leave no piece out. Tests link the floors, so that one
# that changes does not wait for the whole.
set(floors base kernels schedule comm io metrics models optim peft net runtime plan actors)
if(COLLIE_HAS_CUDA)
  list(APPEND floors cuda)
endif()
set(objects "")
set(libraries "")
foreach(floor IN LISTS floors)
  list(APPEND objects $<TARGET_OBJECTS:collie_${floor}>)
  list(APPEND libraries collie_${floor})  # for the libraries that they need
endforeach()
add_library(collie SHARED ${objects})
add_library(collie::engine ALIAS collie)
target_link_libraries(collie PRIVATE ${libraries})
target_link_libraries(collie INTERFACE fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json CAF::core)
target_include_directories(collie INTERFACE
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>" "$<BUILD_INTERFACE:${COLLIE_GENERATED}>"
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/collie>")
target_compile_features(collie INTERFACE cxx_std_20)
if(COLLIE_HAS_CUDA)
  target_compile_definitions(collie INTERFACE COLLIE_HAS_CUDA)
endif()
# Calls within the library are bound when it is linked: they cost what they cost within one program. Versions promise each
# other nothing yet, so the library's name has all of the version.
target_link_options(collie PRIVATE -Wl,-Bsymbolic-functions)
if(NOT COLLIE_SANITIZE)  # whose functions are in the program
  target_link_options(collie PRIVATE -Wl,-z,defs)
endif()
set_target_properties(collie PROPERTIES LINKER_LANGUAGE CXX EXPORT_NAME engine UNITY_BUILD OFF
  VERSION "${PROJECT_VERSION}" SOVERSION "${PROJECT_VERSION}")
add_dependencies(collie collie_interface)
