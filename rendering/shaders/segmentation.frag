#version 330 core
// The colour of a sample is the number of its face, counted from 1, in 24 bits: 0 stays free for no face.
uniform vec3 color;
out vec4 frag_color;
void main() {
    int number = gl_PrimitiveID + 1 + int(color.r);
    frag_color = vec4(number & 255, (number >> 8) & 255, (number >> 16) & 255, 255) / 255.0;
}
